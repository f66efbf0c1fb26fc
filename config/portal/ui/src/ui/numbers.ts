/** rate writes a figure per second: three digits are enough to see it move. */
export function rate(n: number): string {
  if (n === 0) return '0';
  return n < 100 ? n.toFixed(1) : count(Math.round(n));
}

/** count writes a whole number, short from ten thousand on. */
export function count(n: number): string {
  if (n < 10_000) return n.toLocaleString('en');
  return n.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 1 });
}

/** millis writes a time. */
export function millis(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 && ms > 0 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
