// What every page has: head, way to the pages beside it, foot.
import { html } from '../html.js';
import { siblingUrl } from '../door.js';

const capitalise = (name) => name.charAt(0).toUpperCase() + name.slice(1);

/** A whole document, as a string. `site`: {config, door, requestId}; `door` is null where the address was no use.
 * `live`: with the script that shows new quotes. */
export function layout({ config, door, requestId }, { title, main, live = false }) {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${title}</title>
  <link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/assets/style.css">
  ${live && html`<script type="module" src="/assets/live.js"></script>`}
</head>
<body>
  <a class="skip" href="#main">Skip to the content</a>
  <header class="top">
    <div class="wide">
      <a class="brand" href="/">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M3 17l6-6 4 4 8-9"/></svg>Quotes
      </a>
      ${
        door &&
        html`<nav aria-label="Other pages"><ul>${config.siblings.map(
          (name) => html`<li><a href="${siblingUrl(door, name, config.siblingDomain)}">${capitalise(name)}</a></li>`,
        )}</ul></nav>
      <p class="door">You came in through <strong>port ${door.port}</strong> of ${door.name}</p>`
      }
    </div>
  </header>
  <main id="main" class="wide" tabindex="-1">
${main}
  </main>
  <footer class="wide">
    <p>front-end ${config.version} on ${config.instance}</p>
    <p>Request <code>${requestId}</code></p>
  </footer>
</body>
</html>
`.toString();
}
