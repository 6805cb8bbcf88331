package authorization_test

import data.authorization
import data.system

night := time.parse_rfc3339_ns("2026-11-30T23:30:00Z")

early := time.parse_rfc3339_ns("2026-11-30T05:59:59Z")

morning := time.parse_rfc3339_ns("2026-11-30T06:00:00Z")

noon := time.parse_rfc3339_ns("2026-11-30T12:00:00Z")

rules := {
	"closed_hours": [{
		"namespaces": ["prod"],
		"resources": ["secrets", "pods/exec"],
		"from": "22:00",
		"to": "06:00",
		"groups": ["operators"],
	}],
	"keep_namespaces_with_data": true,
	"revoked_users": ["berta"],
	"api_server": {
		"url": "https://192.0.2.1:6443",
		"ca": "ca.crt",
		"certificate": "client.crt",
		"key": "client.key",
	},
}

review(groups, attributes) := {
	"apiVersion": "authorization.k8s.io/v1",
	"kind": "SubjectAccessReview",
	"spec": {
		"user": "anna",
		"groups": groups,
		"resourceAttributes": attributes,
	},
}

secret := {"namespace": "prod", "verb": "get", "version": "v1", "resource": "secrets", "name": "database"}

status(groups, attributes, now) := answer.status if {
	answer := system.main with input as review(groups, attributes)
		with data.security as rules
		with time.now_ns as now
}

# --- closed hours

test_nobody_touches_secrets_of_prod_at_night if {
	some now in [night, early]
	answer := status(["developers"], secret, now)
	answer.denied
	not answer.allowed
	contains(answer.reason, "secrets, pods/exec of prod are closed from 22:00 to 06:00 (UTC) for all but operators")
}

test_whatever_they_do_with_them if {
	every verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "*"] {
		status(["developers"], object.union(secret, {"verb": verb}), night).denied
	}
}

test_all_namespaces_are_prod_as_well if {
	status(["developers"], {"verb": "list", "version": "v1", "resource": "secrets"}, night).denied
}

test_all_resources_are_secrets_as_well if {
	status(["developers"], {"namespace": "prod", "verb": "*", "group": "*", "resource": "*"}, night).denied
}

test_subresources_are_meant_by_their_names if {
	pod := {"namespace": "prod", "verb": "create", "resource": "pods", "subresource": "exec", "name": "web"}
	status(["developers"], pod, night).denied
	not status(["developers"], object.union(pod, {"subresource": "log"}), night).denied
	not status(["developers"], object.remove(pod, ["subresource"]), night).denied
}

test_operators_do if {
	status(["system:authenticated", "operators"], secret, night) == {"allowed": false}
}

test_by_day_nobody_is_asked_for_more_than_rbac if {
	every now in [morning, noon] {
		status(["developers"], secret, now) == {"allowed": false}
	}
}

test_other_namespaces_and_resources_are_open if {
	status(["developers"], object.union(secret, {"namespace": "dev"}), night) == {"allowed": false}
	status(["developers"], object.union(secret, {"resource": "configmaps"}), night) == {"allowed": false}
	status(["developers"], object.union(secret, {"group": "shop.example"}), night) == {"allowed": false}
}

test_hours_are_those_of_a_time_zone_with_its_summer if {
	here := object.union(rules, {"closed_hours": [object.union(rules.closed_hours[0], {"time_zone": "Europe/Berlin"})]})
	july := time.parse_rfc3339_ns("2026-07-01T20:30:00Z")
	december := time.parse_rfc3339_ns("2026-12-01T20:30:00Z")
	count(authorization.deny) == 1 with input as review([], secret)
		with data.security as here
		with time.now_ns as july
	count(authorization.deny) == 0 with input as review([], secret)
		with data.security as here
		with time.now_ns as december
}

test_hours_within_a_day if {
	within := object.union(rules, {"closed_hours": [object.union(rules.closed_hours[0], {"from": "09:00", "to": "12:00"})]})
	expected := {"08:59": 0, "09:00": 1, "11:59": 1, "12:00": 0, "23:00": 0}
	every clock, refused in expected {
		now := time.parse_rfc3339_ns(sprintf("2026-11-30T%s:00Z", [clock]))
		count(authorization.deny) == refused with input as review([], secret)
			with data.security as within
			with time.now_ns as now
	}
}

test_without_groups_nobody_is_let_in if {
	answer := system.main with input as json.remove(review([], secret), ["/spec/groups"])
		with data.security as rules
		with time.now_ns as night
	answer.status.denied
}

# --- revoked users

test_a_revoked_user_does_nothing_any_more if {
	berta := object.union(review(["operators"], secret), {"spec": {"user": "berta"}})
	answer := system.main with input as berta
		with data.security as rules
		with time.now_ns as noon
	answer.status == {"allowed": false, "denied": true, "reason": "the certificates of berta are revoked"}
}

# --- namespaces with data

deletion := {"verb": "delete", "version": "v1", "resource": "namespaces", "namespace": "shop", "name": "shop"}

with_claim(request) := {"status_code": 200, "body": {"items": [{"metadata": {"name": "data"}}]}} if {
	request.url == "https://192.0.2.1:6443/api/v1/namespaces/shop/persistentvolumeclaims?limit=1"
}

without_claim(_) := {"status_code": 200, "body": {"items": []}}

refused_reader(_) := {"status_code": 403, "body": {}}

unreachable(_) := {"status_code": 0, "error": {"message": "connection refused"}}

test_a_namespace_with_data_is_not_deleted if {
	answer := status(["administrators"], deletion, noon) with http.send as with_claim
	answer.denied
	answer.reason == "namespace shop has data: delete its PersistentVolumeClaims first"
}

test_one_without_is_for_rbac if {
	answer := status(["administrators"], deletion, noon) with http.send as without_claim
	answer == {"allowed": false}
}

test_one_of_which_nothing_is_known_is_kept if {
	refused := status(["administrators"], deletion, noon) with http.send as refused_reader
	contains(refused.reason, "can't be found out now (the API server said 403)")
	away := status(["administrators"], deletion, noon) with http.send as unreachable
	away.denied
}

test_nobody_is_asked_about_other_requests if {
	every other in [{"verb": "get"}, {"resource": "pods"}, {"group": "shop.example"}, {"subresource": "status"}, {"name": ""}] {
		answer := status(["administrators"], object.union(deletion, other), noon) with http.send as with_claim
		answer == {"allowed": false}
	}
}

test_it_can_be_left_out if {
	off := object.union(rules, {"keep_namespaces_with_data": false})
	count(authorization.deny) == 0 with input as review([], deletion)
		with data.security as off
		with time.now_ns as noon
		with http.send as with_claim
}

# --- the answer and the log

test_all_reasons_are_told if {
	both := object.union(rules, {"closed_hours": [
		object.union(rules.closed_hours[0], {"namespaces": ["shop"], "resources": ["namespaces"]}),
	]})
	answer := system.main with input as review([], deletion)
		with data.security as both
		with time.now_ns as night
		with http.send as with_claim
	contains(answer.status.reason, "namespace shop has data")
	contains(answer.status.reason, "; namespaces of shop are closed")
	answer.apiVersion == "authorization.k8s.io/v1"
	answer.kind == "SubjectAccessReview"
}

test_the_log_has_refusals_alone if {
	system.log.drop with input as {"result": {"status": {"allowed": false}}}
	system.log.drop with input as {}
	not system.log.drop with input as {"result": {"status": {"allowed": false, "denied": true}}}
}

test_the_log_has_nothing_that_an_identity_carries if {
	system.log.mask == {"/input/spec/extra", "/input/spec/uid"}
}
