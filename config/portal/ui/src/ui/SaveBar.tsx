import { Alert, Button, Group, Paper, Text } from '@mantine/core';

/** SaveBar is what a page with a draft ends in: save, undo, and what the server said that belongs to no field. */
export function SaveBar({ dirty, stale, busy, rest, onSave, onReset, label = 'Save', what = 'API', disabled }: { dirty: boolean; stale: boolean; busy: boolean; rest: string[]; onSave: () => void; onReset: () => void; label?: string; what?: string; disabled?: boolean }) {
  return (
    <Paper withBorder p="sm" pos="sticky" bottom={8} shadow="sm" style={{ zIndex: 5 }}>
      {stale && (
        <Alert color="yellow" mb="sm" title={`Somebody else changed this ${what} meanwhile`}>
          Your changes are still here. Undo them to see the new state.
        </Alert>
      )}
      {rest.length > 0 && (
        <Alert color="red" mb="sm" role="alert" title="Not saved">
          {rest.map((t) => (
            <Text size="sm" key={t}>
              {t}
            </Text>
          ))}
        </Alert>
      )}
      <Group>
        <Button onClick={onSave} disabled={!dirty || disabled} loading={busy}>
          {label}
        </Button>
        <Button variant="default" onClick={onReset} disabled={!dirty}>
          Undo changes
        </Button>
        <Text size="sm" c="dimmed" role="status">
          {dirty ? 'Not saved yet' : 'All saved'}
        </Text>
      </Group>
    </Paper>
  );
}
