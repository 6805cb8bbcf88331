# What the API server is answered. It posts a SubjectAccessReview to /, which OPA evaluates data.system.main for. Rules refuse
# and never allow: where none does, there is no opinion, and RBAC is asked next.
package system

import data.authorization

main := {
	"apiVersion": input.apiVersion,
	"kind": "SubjectAccessReview",
	"status": status,
}

default status := {"allowed": false}

status := {
	"allowed": false,
	"denied": true,
	"reason": concat("; ", sort(authorization.deny)),
} if {
	count(authorization.deny) > 0
}
