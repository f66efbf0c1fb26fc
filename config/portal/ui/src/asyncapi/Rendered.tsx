import { type ComponentProps, Suspense, lazy } from 'react';

import { Loading, Shown } from '../ui/states';

const Document = lazy(() => import('./Document').then((m) => ({ default: m.Document })));

/** Rendered shows a document as it arrives. Its components are loaded with it. */
export function Rendered({ of }: { of: { data: ComponentProps<typeof Document>['doc'] | undefined; error: Error | null; refetch: () => void } }) {
  return (
    <Shown of={of} what="the document">
      {(d) => (
        <Suspense fallback={<Loading what="the document" />}>
          <Document doc={d} />
        </Suspense>
      )}
    </Shown>
  );
}
