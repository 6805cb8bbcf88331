# The request that is reviewed, as rules look at it.
package authorization

# Fields that are empty are left out of the review.
attributes := object.union(
	{"namespace": "", "verb": "", "group": "", "resource": "", "subresource": "", "name": ""},
	input.spec.resourceAttributes,
)

# As rules of RBAC name it: secrets, deployments.apps, pods/exec. Who asks about all of them asks about each.
asked_for contains concat("/", array.concat([plain], subresources))

asked_for contains resource if {
	attributes.resource == "*"
	some hours in data.security.closed_hours
	some resource in hours.resources
}

plain := attributes.resource if attributes.group == ""

plain := concat(".", [attributes.resource, attributes.group]) if attributes.group != ""

subresources := [attributes.subresource | attributes.subresource != ""]
