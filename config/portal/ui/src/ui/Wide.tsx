import { Table } from '@mantine/core';
import type { ReactNode } from 'react';

/** Wide holds a table that is wider than a phone: it is scrolled sideways, by keys too. */
export function Wide({ min, label, children }: { min: number; label: string; children: ReactNode }) {
  return (
    <Table.ScrollContainer minWidth={min} type="native" tabIndex={0} role="region" aria-label={label}>
      {children}
    </Table.ScrollContainer>
  );
}
