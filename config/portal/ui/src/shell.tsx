import { ActionIcon, Anchor, AppShell, Burger, Button, Group, NavLink, Text, Tooltip, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Link, Outlet, useLocation } from '@tanstack/react-router';

import { Login } from './Login';
import { has, useLogout, useMe } from './session';
import { Empty, Failed, Loading } from './ui/states';

/** Shell is what every page stands in: who is signed in decides which sides of the portal there are. */
export function Shell() {
  const me = useMe();
  const logout = useLogout();
  const [open, { toggle, close }] = useDisclosure();
  const { pathname } = useLocation();
  if (me.isPending) return <Loading what="the portal" />;
  if (me.error) return <Failed error={me.error} retry={() => void me.refetch()} />;
  if (!me.data) return <Login />;
  const user = me.data;
  const link = (to: string, label: string, hint: string) => (
    <NavLink component={Link} to={to} label={label} description={hint} active={pathname.startsWith(to)} onClick={close} aria-current={pathname.startsWith(to) ? 'page' : undefined} />
  );
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 220, breakpoint: 'sm', collapsed: { mobile: !open } }} padding="md">
      <AppShell.Header>
        <a className="skip" href="#main">
          To the content
        </a>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={open} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
            <img src="/portal/icon.svg" width={24} height={24} alt="" />
            <Text fw={600}>sluice</Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Scheme />
            <Text size="sm" visibleFrom="xs" title={user.roles.join(', ')}>
              {user.name}
            </Text>
            <Button size="compact-sm" variant="default" onClick={() => logout.mutate()} loading={logout.isPending}>
              Sign out
            </Button>
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Portal">
        {has(user, 'creator', 'publisher') && link('/apis', 'Publisher', 'create and run APIs')}
        {has(user, 'creator', 'publisher') && link('/monitor', 'Monitor', 'what runs, and how well')}
        {link('/dev', 'Developer', 'find and try APIs')}
        {has(user, 'subscriber') && link('/applications', 'Applications', 'keys and subscriptions')}
        {has(user) && link('/plans', 'Plans', 'limits of subscriptions')}
        {has(user) && link('/users', 'Users', 'who may do what')}
        <Anchor href="/docs" size="sm" mt="auto" p="xs">
          REST API
        </Anchor>
      </AppShell.Navbar>
      <AppShell.Main id="main">
        <Outlet />
      </AppShell.Main>
    </AppShell>
  );
}

function Scheme() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const next = { auto: 'light', light: 'dark', dark: 'auto' } as const;
  const sign = { auto: '◐', light: '☀', dark: '☾' };
  return (
    <Tooltip label={`Colours: ${colorScheme}`}>
      <ActionIcon variant="default" aria-label={`Colours: ${colorScheme}. Change`} onClick={() => setColorScheme(next[colorScheme])}>
        {sign[colorScheme]}
      </ActionIcon>
    </Tooltip>
  );
}

/** NotFound is for addresses that lead nowhere. */
export function NotFound() {
  return (
    <Empty title="There is no such page" action={<Anchor component={Link} to="/">To the start</Anchor>}>
      The address may be mistyped, or what it showed was deleted.
    </Empty>
  );
}
