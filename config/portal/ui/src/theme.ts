import { createTheme, type CSSVariablesResolver } from '@mantine/core';

export const theme = createTheme({
  primaryColor: 'cyan',
  primaryShade: 9,
  autoContrast: true,
  defaultRadius: 'md',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace',
  cursorType: 'pointer',
  respectReducedMotion: true,
  // A table wider than the screen is scrolled by whoever has only a keyboard, too.
  components: { TableScrollContainer: { defaultProps: { type: 'native', tabIndex: 0 } } },
});

/** The nonce of this page's Content-Security-Policy, for styles that libraries make. */
export const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? '';

/** The library's dimmed text is too faint to read on its own backgrounds: 4.5:1 is the least. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: { '--mantine-color-dimmed': '#495057', '--mantine-color-placeholder': '#6c757d', '--mantine-color-error': '#c92a2a', '--mantine-color-cyan-filled-hover': '#095c6b', '--mantine-primary-color-filled-hover': '#095c6b' },
  dark: { '--mantine-color-cyan-filled-hover': '#095c6b', '--mantine-primary-color-filled-hover': '#095c6b', '--mantine-color-dimmed': '#adb5bd', '--mantine-color-placeholder': '#909296', '--mantine-color-error': '#ff8787' },
});
