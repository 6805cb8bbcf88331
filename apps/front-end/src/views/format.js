// Numbers and moments as people read them.

const NUMBER = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 8 });
const PERCENT = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 2, signDisplay: 'exceptZero' });

/** A decimal string keeps all its digits: "12345.6000" → 12,345.60. */
export const formatPrice = (text) => NUMBER.format(text);

/** The numbers of an axis, all with the decimals that tell them apart. */
export function formatAxis(values) {
  const span = Math.max(...values) - Math.min(...values);
  const decimals = span === 0 ? 2 : Math.min(8, Math.max(2, 2 - Math.floor(Math.log10(span))));
  const format = new Intl.NumberFormat('en', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return values.map((value) => format.format(value));
}

/** 0.0314 → +3.14%, -0.0024 → −0.24% (with a minus sign, as wide as the plus). */
export const formatChange = (ratio) => PERCENT.format(ratio).replace('-', '\u2212');

/** 2026-11-23 10:35, in UTC: without a script the visitor's time zone is not known. */
export const formatMoment = (moment) => moment.toISOString().slice(0, 16).replace('T', ' ');
