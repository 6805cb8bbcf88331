// Through which door a visitor came: scheme, host name and port of the address in the browser.

const AUTHORITY = /^(?<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?<port>\d{1,5}))?$/i;
const DEFAULT_PORTS = { http: 80, https: 443 };

/**
 * Reads Host, or X-Forwarded-Host and X-Forwarded-Proto where the application trusts the peer
 * (Express looks after that). Returns null where the header is missing or is no host name.
 */
export function readDoor(request) {
  const match = AUTHORITY.exec(request.host ?? '');
  const scheme = request.protocol;
  if (!match || !(scheme in DEFAULT_PORTS)) return null;
  const port = match.groups.port === undefined ? DEFAULT_PORTS[scheme] : Number(match.groups.port);
  if (port < 1 || port > 65535) return null;
  return { scheme, name: match.groups.name.toLowerCase(), port };
}

function origin({ scheme, name, port }) {
  return `${scheme}://${name}${port === DEFAULT_PORTS[scheme] ? '' : `:${port}`}`;
}

/** The address of a page beside this one, e.g. http://sandbox.localhost:8080/, through the same door. */
export function siblingUrl(door, sibling, domain) {
  return `${origin({ ...door, name: `${sibling}.${domain}` })}/`;
}

/**
 * Whether a form was sent by a page of another site. Browsers say so in Sec-Fetch-Site, older ones only
 * by Origin; a program that sends neither has no visitor to betray.
 */
export function isFromElsewhere(request, door) {
  const site = request.get('Sec-Fetch-Site');
  if (site !== undefined) return !['same-origin', 'none'].includes(site);
  const sender = request.get('Origin');
  return sender !== undefined && sender.toLowerCase() !== origin(door);
}
