// Numbers and moments as people read them.

const PERCENT = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 2, signDisplay: 'exceptZero' });

// A formatter takes longer to make than a page; there are few.
const formatters = new Map();

function withDecimals(least, most = least) {
  const key = least * 100 + most;
  if (!formatters.has(key)) {
    const options = { minimumFractionDigits: least, maximumFractionDigits: most };
    formatters.set(key, new Intl.NumberFormat('en', options));
  }
  return formatters.get(key);
}

/** How many decimals all of these decimal strings need, at least 2. */
export const decimalsOf = (texts) =>
  Math.min(20, Math.max(2, ...texts.map((text) => /(?:\.(\d*[1-9]))?0*$/.exec(text)[1]?.length ?? 0)));

/** A decimal string with all its digits: "12345.6000" → 12,345.60. */
export const formatPrice = (text, decimals = 2) => withDecimals(decimals, 20).format(text);

/** The numbers of an axis, all with the decimals that tell them apart. */
export function formatAxis(values) {
  const span = Math.max(...values) - Math.min(...values);
  const decimals = span === 0 ? 2 : Math.min(8, Math.max(2, 2 - Math.floor(Math.log10(span))));
  return values.map(withDecimals(decimals).format);
}

/** 0.0314 → +3.14%, -0.0024 → −0.24% (with a minus sign, as wide as the plus). */
export const formatChange = (ratio) => PERCENT.format(ratio).replace('-', '\u2212');

/** 2026-11-23 10:35, in UTC: without a script the visitor's time zone is not known. */
export const formatMoment = (moment) => moment.toISOString().slice(0, 16).replace('T', ' ');
