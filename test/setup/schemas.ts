// The schemas of responses, to be imported as `schemas`: a test reads its `order` with `schemas.order`.
export * from '../../contracts/facts.ts';
export * from '../../contracts/flash-sales.ts';
export * from '../../contracts/history.ts';
export * from '../../contracts/operations.ts';
export * from '../../contracts/orders.ts';
export * from '../../contracts/payments.ts';
export * from '../../contracts/problems.ts';
export * from '../../contracts/session.ts';
export * from '../../contracts/users.ts';
