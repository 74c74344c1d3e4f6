// Loaded into the points service before it starts (node --import). Kills the process with SIGKILL each time before it
// stores the points of the order DOOMED_ORDER.
import pg from 'pg';

const { query } = pg.Client.prototype;

pg.Client.prototype.query = function (statement, ...rest) {
  const stores = statement?.text?.includes('INSERT INTO sluice_points.entries');
  if (stores && JSON.stringify(statement.values).includes(process.env.DOOMED_ORDER)) {
    process.kill(process.pid, 'SIGKILL');
  }
  return query.call(this, statement, ...rest);
};
