import { Anchor } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import { has, useMe } from '../session';

/** PlanLink is a plan's name; to an administrator it leads to the plan. */
export function PlanLink({ name }: { name: string }) {
  const { data: me } = useMe();
  if (!has(me)) return <>{name}</>;
  return (
    <Anchor component={Link} to={`/plans/${name}` as string}>
      {name}
    </Anchor>
  );
}
