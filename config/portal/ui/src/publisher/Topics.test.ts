import { expect, it } from 'vitest';

import { fieldsOf, paramsOf } from './Topics';

it('finds the parameters of a name', () => {
  expect(paramsOf('/quotes/{symbol}/{depth_1}')).toEqual(['symbol', 'depth_1']);
  expect(paramsOf('/a{b}')).toEqual(['b']);
  expect(paramsOf('/*')).toEqual([]);
});

it('maps pointers of the second topic to its fields', () => {
  const f = fieldsOf([{ name: '/a' }, { name: '/b' }]);
  expect(f['/spec/topics/1/backend']).toBe('1.backend');
  expect(f['/spec/topics/2/name']).toBeUndefined();
});
