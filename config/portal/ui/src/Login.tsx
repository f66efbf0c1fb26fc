import { Button, Center, Code, Paper, PasswordInput, Stack, Text, TextInput, Title } from '@mantine/core';
import { useState } from 'react';

import { Refused } from './api/client';
import { slugOf } from './api/problem';
import { useLogin } from './session';
import { Failed } from './ui/states';

/** Login asks for a name and a password. */
export function Login() {
  const login = useLogin();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const wrong = login.error instanceof Refused && slugOf(login.error.problem) === 'unauthenticated';
  return (
    <Center component="main" mih="100vh" p="md">
      <Paper withBorder p="xl" w={380} shadow="sm">
        <form
          onSubmit={(e) => {
            e.preventDefault();
            login.mutate({ name, password });
          }}
        >
          <Stack>
            <Title order={1} size="h3">
              Sign in to sluice
            </Title>
            <TextInput label="Name" value={name} onChange={(e) => setName(e.currentTarget.value)} autoComplete="username" autoCapitalize="none" required autoFocus />
            <PasswordInput
              label="Password"
              value={password}
              onChange={(e) => setPassword(e.currentTarget.value)}
              autoComplete="current-password"
              required
              error={wrong ? 'Name or password is wrong.' : undefined}
              visibilityToggleButtonProps={{ 'aria-label': 'Show the password' }}
            />
            {login.error && !wrong && <Failed error={login.error} />}
            <Button type="submit" loading={login.isPending}>
              Sign in
            </Button>
            <Text size="xs" c="dimmed">
              First start? The name is <Code>admin</Code>; its password was printed by the server once and is in <Code>first-admin-password</Code> in its data folder.
            </Text>
          </Stack>
        </form>
      </Paper>
    </Center>
  );
}
