# Users whose certificates are not to count any more, though they are valid (security_revoked_users).
package authorization

import data.security

deny contains reason if {
	input.spec.user in security.revoked_users
	reason := sprintf("the certificates of %s are revoked", [input.spec.user])
}
