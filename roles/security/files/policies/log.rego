# What the log of decisions has: those that refuse, and of them who asked for what. A request has no content of an object; what
# a user's identity carries besides is nobody's to read.
package system.log

default drop := false

drop if not input.result.status.denied

mask contains "/input/spec/extra"

mask contains "/input/spec/uid"
