// Reads application/problem+json (RFC 9457) of the API for people at a form.

const capitalise = (name) => name.charAt(0).toUpperCase() + name.slice(1);

/**
 * What is wrong: [{field, message}]; field is null where it is none of `fields`.
 * The API's `errors` has lists of words by member, which follow the member's name: {"price": ["is required"]}.
 */
export function readErrors(refusal, fields) {
  const errors = Object.entries(refusal.problem.errors ?? {}).flatMap(([member, words]) =>
    [words].flat().map((phrase) => ({
      field: fields.includes(member) ? member : null,
      message: `${capitalise(member)} ${phrase}.`,
    })),
  );
  return errors.length > 0 ? errors : [{ field: null, message: refusal.message }];
}
