# A namespace that has data is not deleted: its PersistentVolumeClaims first (security_keep_namespaces_with_data).
package authorization

import data.security

deny contains reason if {
	security.keep_namespaces_with_data
	is_deletion
	found := claims(attributes.name)
	found.status_code == 200
	count(found.body.items) > 0
	reason := sprintf("namespace %s has data: delete its PersistentVolumeClaims first", [attributes.name])
}

# Not to know is no reason to lose data.
deny contains reason if {
	security.keep_namespaces_with_data
	is_deletion
	found := claims(attributes.name)
	found.status_code != 200
	reason := sprintf(
		"whether namespace %s has data can't be found out now (the API server said %d)",
		[attributes.name, found.status_code],
	)
}

# Whoever asks what they might do names none.
is_deletion if {
	attributes.verb == "delete"
	attributes.group == ""
	attributes.resource == "namespaces"
	object.get(attributes, "subresource", "") == ""
	attributes.name != ""
}

# The API server asks nobody whether this reader may: it is one of those who never wait for the webhook.
claims(namespace) := http.send({
	"method": "GET",
	"url": sprintf("%s/api/v1/namespaces/%s/persistentvolumeclaims?limit=1", [
		security.api_server.url, urlquery.encode(namespace),
	]),
	"tls_ca_cert_file": security.api_server.ca,
	"tls_client_cert_file": security.api_server.certificate,
	"tls_client_key_file": security.api_server.key,
	"timeout": "2s",
	"raise_error": false,
})
