// Loaded into the points service before it starts (node --import). Kills the process with SIGKILL each time before it
// stores the points of the order DOOMED_ORDER. It reads what is sent to PostgreSQL, because the program contains its own
// copy of the client.
import { Socket } from 'node:net';

/** Names of the prepared statements that store points. */
const storing = new Set();

const { write } = Socket.prototype;
Socket.prototype.write = function (chunk, ...rest) {
  if (Buffer.isBuffer(chunk)) {
    // A type of one byte and a length of four, and then texts that end with a zero.
    const [first, second] = chunk.toString('latin1', 5).split('\0', 2);
    const type = String.fromCharCode(chunk[0]);
    if (type === 'P' && second?.includes('INSERT INTO sluice_points.entries')) storing.add(first);
    if (type === 'B' && storing.has(second) && chunk.includes(process.env.DOOMED_ORDER))
      process.kill(process.pid, 'SIGKILL');
  }
  return write.call(this, chunk, ...rest);
};
