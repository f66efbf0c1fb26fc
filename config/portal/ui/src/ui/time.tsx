import { Text } from '@mantine/core';

const units: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];

/** ago tells a moment relative to now: 3 minutes ago. */
export function ago(iso: string, now = Date.now()): string {
  const s = (new Date(iso).getTime() - now) / 1000;
  const [unit, length] = units.find(([, l]) => Math.abs(s) >= l) ?? (['second', 1] as const);
  return new Intl.RelativeTimeFormat('en', { numeric: 'auto' }).format(Math.trunc(s / length), unit);
}

/** Ago shows a moment relative to now, exactly in its tooltip. */
export function Ago({ at }: { at: string }) {
  return (
    <Text component="time" dateTime={at} title={new Date(at).toISOString()} size="sm" c="dimmed" span>
      {ago(at)}
    </Text>
  );
}
