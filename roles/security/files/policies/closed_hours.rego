# Hours in which what is in some namespaces is for some groups alone (security_closed_hours).
package authorization

import data.security

deny contains reason if {
	some hours in security.closed_hours
	touches(hours)
	not is_open_to(hours)
	is_closed(hours)
	reason := sprintf(
		"%s of %s are closed from %s to %s (%s) for all but %s",
		[
			concat(", ", hours.resources), concat(", ", hours.namespaces),
			hours.from, hours.to, time_zone(hours), concat(", ", hours.groups),
		],
	)
}

# A request for all namespaces is one for each of them.
touches(hours) if {
	attributes.namespace in array.concat(hours.namespaces, [""])
	some resource in asked_for
	resource in hours.resources
}

is_open_to(hours) if {
	some group in input.spec.groups
	group in hours.groups
}

# To the end of a day that began before midnight, or within one day.
is_closed(hours) if {
	from := minutes(hours.from)
	to := minutes(hours.to)
	from > to
	is_after(from, to, minute_of_day(time_zone(hours)))
}

is_closed(hours) if {
	from := minutes(hours.from)
	to := minutes(hours.to)
	from <= to
	now := minute_of_day(time_zone(hours))
	now >= from
	now < to
}

is_after(from, _, now) if now >= from

is_after(_, to, now) if now < to

minute_of_day(zone) := (clock[0] * 60) + clock[1] if clock := time.clock([time.now_ns(), zone])

minutes(text) := (to_number(parts[0]) * 60) + to_number(parts[1]) if parts := split(text, ":")

time_zone(hours) := object.get(hours, "time_zone", "UTC")
