// What the first page weighs, without what it loads only when asked.
import assert from 'node:assert/strict';
import test from 'node:test';

import { base, browse, visit } from './rig.mjs';

test('the first load is at most 300 KB', async (t) => {
  const page = await visit(t, await browse(t));
  await page.goto(base);
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  const parts = await page.evaluate(() => performance.getEntriesByType('resource').map((e) => [e.name.split('/').at(-1), e.encodedBodySize]));
  const total = parts.reduce((sum, [, bytes]) => sum + bytes, 0);
  console.log(`first load: ${(total / 1000).toFixed(0)} KB gzipped in ${parts.length} files`);
  assert(total > 50_000 && total <= 300_000, JSON.stringify(parts));
});
