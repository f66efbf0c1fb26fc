import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Navigate } from '@tanstack/react-router';

import { NotFound, Shell } from './shell';

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const at = <P extends string>(path: P, load: () => Promise<Record<string, unknown>>, name: string) =>
  createRoute({ getParentRoute: () => root, path, component: lazyRouteComponent(load as never, name as never) });

const routes = [
  createRoute({ getParentRoute: () => root, path: '/', component: () => <Navigate to="/apis" replace /> }),
  at('/apis', () => import('./publisher/ApiList'), 'ApiList'),
  at('/apis/new', () => import('./publisher/NewApi'), 'NewApi'),
  at('/apis/import', () => import('./publisher/ImportApi'), 'ImportApi'),
  at('/apis/$id', () => import('./publisher/ApiPage'), 'ApiPage'),
  at('/apis/$id/$tab', () => import('./publisher/ApiPage'), 'ApiPage'),
  at('/monitor', () => import('./publisher/Monitor'), 'Monitor'),
  at('/dev', () => import('./developer/DevList'), 'DevList'),
  at('/dev/$id', () => import('./developer/DevApi'), 'DevApi'),
  at('/dev/$id/$tab', () => import('./developer/DevApi'), 'DevApi'),
  at('/applications', () => import('./developer/Applications'), 'Applications'),
  at('/applications/$id', () => import('./developer/Applications'), 'Application'),
  at('/plans', () => import('./publisher/PlanList'), 'PlanList'),
  at('/plans/~new', () => import('./publisher/PlanPage'), 'NewPlan'), // no plan can be called so
  at('/plans/$name', () => import('./publisher/PlanPage'), 'PlanPage'),
  at('/users', () => import('./publisher/Users'), 'Users'),
];

export const router = createRouter({ routeTree: root.addChildren(routes), basepath: '/portal', scrollRestoration: true, defaultPreload: 'intent' });

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
