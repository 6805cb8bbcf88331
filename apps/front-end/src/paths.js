// Paths and routes, which more than one module has to know.

/** Asked by the platform: not traced, and left out of the log where the settings say so. */
export const PROBES = ['/livez', '/readyz', '/metrics'];

/** What metrics and spans have as the route of a request for a page that is not there. */
export const UNMATCHED = 'unmatched';

/** The route of a request in Express: few values for a label, whatever visitors ask for. */
export const routeOf = (request, response) => request.route?.path ?? response.locals?.route ?? UNMATCHED;
