// An administrator makes, changes and deletes plans; what the server says of them stands where it belongs.
import assert from 'node:assert/strict';
import test from 'node:test';

import { base, browse, call, look, provider, said, short, signIn, visit } from './rig.mjs';

test('plans', async (t) => {
  const page = await visit(t, await browse(t));
  await signIn(page, 'admin');
  const field = (name) => page.getByRole('textbox', { name, exact: true });
  const button = (name) => page.getByRole('button', { name, exact: true });
  const row = (text) => page.getByRole('region', { name: 'Plans' }).getByRole('row', { name: text });
  const plan = async (name) => {
    const answer = await call('GET', `/api/v1/plans/${name}`);
    return { etag: answer.headers.get('ETag'), def: await answer.json() };
  };

  await t.test('are listed with their limits', async () => {
    await page.getByRole('navigation', { name: 'Portal' }).getByRole('link', { name: /^Plans/ }).click();
    await row(/^AsyncGold 50,000 events per day, 50 streams at once nobody$/).waitFor();
    await look(page, 'plans');
  });

  await t.test('a bad value is told at its field', async () => {
    await page.getByRole('link', { name: 'Create plan' }).press('Enter');
    const good = { Name: 'Trial', Events: '100', Every: '1', 'Events at most': '10', 'In a span of': '1s' };
    const bad = [
      ['Name', 'has space', /letters/],
      ['Name', 'AsyncGold', /taken/],
      ['Display name', 'x'.repeat(257), /256/],
      ['Description', 'x'.repeat(2001), /2000/],
      ['Events', '-5', /0 to|at least 0/],
      ['Every', '1001', /1 to 1000/],
      ['Events at most', '1000001', /1000000/],
      ['In a span of', '2h', /1h/],
      ['In a span of', 'soon', /duration/],
      ['Longest duration', '5s', /10s/],
      ['Longest duration', '31d', /720h|30d/],
      ['Of a subscription', '1000001', /1000000/],
      ['With one API key', '-1', /0 to|at least 0/],
    ];
    for (const [k, v] of Object.entries(good)) await field(k).fill(v);
    for (const [label, value, want] of bad) {
      await field(label).fill(value);
      await field('Name').press('Enter');
      await page.locator('[class*="InputWrapper-error"]').first().waitFor();
      assert.match(await said(page, label, true), want, `${label} ${value}`);
      assert(await field(label).evaluate((e) => e === document.activeElement), `${label} is focused`);
      if (label === bad.at(-1)[0]) await look(page, 'new-error');
      await field(label).fill(good[label] ?? '');
      assert.equal(await page.locator('[class*="InputWrapper-error"]').count(), 0, 'what was told goes when it is typed over');
    }
  });

  await t.test('one is made by keyboard', async () => {
    await page.goto(`${base}plans/~new`);
    await field('Name').fill('Trial');
    await field('Events').fill('5000');
    await field('Every').fill('2');
    await page.getByRole('combobox', { name: 'Unit' }).click();
    await page.getByRole('option', { name: 'day', exact: true, selected: true }).waitFor();
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await page.getByRole('radio', { name: 'close', exact: true }).press('Space');
    await page.getByRole('radio', { name: 'closed', exact: true }).press('Space');
    await field('Of a subscription').fill('3');
    await page.getByRole('checkbox', { name: 'Requires approval' }).press('Space');
    await field('Longest duration').fill('8h');
    await page.getByText('In words: 5,000 events per 2 hours, 3 streams at once, a stream lasts 8h, a publisher lets each subscription in').waitFor();
    await button('Create').press('Enter');
    await row(/^Trial 5,000 events per 2 hours/).waitFor();
    assert.deepEqual((await plan('Trial')).def.spec, {
      quota: { events: 5000, every: 2, unit: 'hour' },
      enforce: true,
      rate: { events: 0, per: '1s' },
      connections: { perSubscription: 3, perKey: 0 },
      maxDuration: '8h',
      onQuotaEnd: 'close',
      whenSourceDown: 'closed',
      requiresApproval: true,
    });
  });

  await t.test('it is changed', async () => {
    await row(/^Trial/).getByRole('link', { name: 'Trial' }).click();
    await field('Display name').fill('For a try');
    await field('Of a subscription').fill('2000000');
    await button('Save').click();
    await page.locator('[class*="InputWrapper-error"]').first().waitFor();
    assert.match(await said(page, 'Of a subscription', true), /1000000/);
    await field('Of a subscription').fill('');
    await button('Save').click();
    await page.getByText('All saved', { exact: true }).waitFor();
    await page.getByRole('heading', { name: 'For a try', level: 1 }).waitFor();
    const { def } = await plan('Trial');
    assert.equal(def.metadata.displayName, 'For a try');
    assert.deepEqual(def.spec.connections, { perSubscription: 0, perKey: 0 });
    await look(page, 'plan');
  });

  await t.test('somebody else was faster', async () => {
    await field('Events').fill('7000');
    const { etag, def } = await plan('Trial');
    def.spec.quota.events = 6000;
    assert.equal((await call('PUT', '/api/v1/plans/Trial', def, { 'If-Match': etag })).status, 200);
    await page.getByText('Somebody else changed this plan meanwhile').waitFor(); // by the server's own stream
    await button('Save').click();
    await page.getByText('Not saved', { exact: true }).waitFor();
    assert.equal(await field('Events').inputValue(), '7000', 'what was typed stays');
    await look(page, 'changed-elsewhere');
    await button('Undo changes').click();
    assert.equal(await field('Events').inputValue(), '6000');
    await field('Events').fill('7000');
    await button('Save').click();
    await page.getByText('All saved', { exact: true }).waitFor();
    assert.equal((await plan('Trial')).def.spec.quota.events, 7000);
  });

  await t.test('it is deleted, if nobody has it', async () => {
    const api = { apiVersion: 'sluice/v1', kind: 'API', metadata: { name: 'offers' }, spec: { context: '/offers', version: '1.0.0', endpoint: provider, topics: [{ name: '/ticks' }], plans: ['Trial'] } };
    await call('POST', '/api/v1/apis', api);
    await button('Delete').click();
    const dialog = page.getByRole('dialog', { name: 'Delete plan Trial' });
    await dialog.getByRole('button', { name: 'Delete the plan' }).click();
    await dialog.getByText('The plan is offered by offers@1.0.0.').waitFor();
    await look(page, 'in-use');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    await call('PUT', '/api/v1/apis/offers@1.0.0', { ...api, spec: { ...api.spec, plans: [] } }, { 'If-Match': '*' });
    await button('Delete').press('Enter');
    await dialog.getByRole('button', { name: 'Keep it' }).press('Enter');
    await dialog.waitFor({ state: 'hidden' });
    await button('Delete').press('Enter');
    await dialog.getByRole('button', { name: 'Delete the plan' }).press('Enter');
    await row(/^AsyncGold/).waitFor();
    assert.equal(await page.getByRole('link', { name: 'For a try' }).count(), 0);
  });

  await t.test('none, and none that may be read', async () => {
    const plans = '**/api/v1/plans?*';
    await page.route(plans, (r) => r.fulfill({ status: 403, contentType: 'application/problem+json', body: '{"type":"/problems/forbidden","title":"Forbidden","status":403,"detail":"Not today."}' }));
    await page.goto(`${base}plans`);
    await page.getByRole('alert').getByText('Not today.').waitFor();
    await page.unroute(plans);
    await page.route(plans, (r) => r.fulfill({ json: { items: [], total: 0 } }));
    await button('Try again').click();
    await page.getByRole('heading', { name: 'There is no plan' }).waitFor();
    await look(page, 'empty');
    await page.unroute(plans);
    await page.goto(`${base}plans/nothing`);
    await page.getByText('There is no such plan').or(page.getByText('404 not-found')).first().waitFor();
  });

  if (short) return;
  await t.test('on a phone, and in the dark', async () => {
    for (const [kind, width, colorScheme] of [['narrow', 360, 'light'], ['dark', 1200, 'dark']]) {
      await page.setViewportSize({ width, height: 800 });
      await page.emulateMedia({ colorScheme });
      for (const [name, where] of [['plans', 'plans'], ['new', 'plans/~new'], ['plan', 'plans/AsyncGold']]) {
        await page.goto(base + where);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await look(page, `${name}-${kind}`);
      }
    }
  });
});
