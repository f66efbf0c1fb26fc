import { Button, CopyButton } from '@mantine/core';

/** Copy copies a text; the button shows it, or a label of its own. */
export function Copy({ text, label }: { text: string; label?: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Button size="compact-xs" variant="default" maw="100%" onClick={copy} title={label ? undefined : `Copy ${text}`}>
          {copied ? 'Copied' : (label ?? text)}
        </Button>
      )}
    </CopyButton>
  );
}
