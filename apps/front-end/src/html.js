// Tagged templates that escape what they are given. Attribute values must stand in double quotes.

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Text that is HTML already; only `html` makes it. */
class Markup {
  #text;

  constructor(text) {
    this.#text = text;
  }

  toString() {
    return this.#text;
  }
}

function render(value) {
  if (value instanceof Markup) return value.toString();
  if (Array.isArray(value)) return value.map(render).join('');
  if (value === null || value === undefined || value === false) return '';
  return String(value).replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

/** html`<p>${anything}</p>`: values are escaped, nested templates and arrays of them are not escaped twice. */
export function html(strings, ...values) {
  return new Markup(strings.reduce((text, part, index) => text + render(values[index - 1]) + part));
}
