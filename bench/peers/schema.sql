-- As in most shops, no constraint keeps a second entry for the same order out.
CREATE TABLE orders (
  id uuid PRIMARY KEY,
  user_id text NOT NULL,
  total bigint NOT NULL,
  items jsonb NOT NULL,
  points boolean NOT NULL DEFAULT false,
  coupon boolean NOT NULL DEFAULT false,
  notification boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE points (id uuid PRIMARY KEY, order_id uuid NOT NULL, user_id text NOT NULL, points bigint NOT NULL);
CREATE TABLE coupons (id uuid PRIMARY KEY, order_id uuid NOT NULL, user_id text NOT NULL, amount bigint);
CREATE TABLE notifications (id uuid PRIMARY KEY, order_id uuid NOT NULL, user_id text NOT NULL, text text NOT NULL);
