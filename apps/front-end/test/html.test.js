import assert from 'node:assert/strict';
import test from 'node:test';
import { html } from '../src/html.js';

test('values are escaped, in text and in attributes', () => {
  const evil = `<script>alert("x")</script> & 'y'`;
  assert.equal(
    html`<p title="${evil}">${evil}</p>`.toString(),
    '<p title="&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;y&#39;">' +
      '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;y&#39;</p>',
  );
});

test('nested templates and lists of them are not escaped twice', () => {
  const items = ['a', '<b>'].map((item) => html`<li>${item}</li>`);
  assert.equal(html`<ul>${items}</ul>`.toString(), '<ul><li>a</li><li>&lt;b&gt;</li></ul>');
});

test('what is absent leaves nothing, zero stays', () => {
  assert.equal(html`[${null}${undefined}${false}${''}${0}]`.toString(), '[0]');
});

test('an object that looks like markup is text', () => {
  assert.equal(html`${{ toString: () => '<i>' }}`.toString(), '&lt;i&gt;');
});
