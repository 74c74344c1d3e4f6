// Whether a server is ready: tested with its protocol, because its port may be open earlier.
import { connect as connectAmqp } from 'amqplib';
import { connectAsync as connectMqtt } from 'mqtt';
import { Client } from 'pg';

const timeoutMs = 5_000;

export async function amqpReady(url: string): Promise<void> {
  const connection = await connectAmqp(url, { timeout: timeoutMs });
  await connection.close();
}

export async function mqttReady(url: string): Promise<void> {
  const client = await connectMqtt(url, { connectTimeout: timeoutMs, reconnectPeriod: 0 }, false);
  await client.endAsync();
}

export async function postgresReady(url: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: timeoutMs });
  // A connection that breaks emits this event in addition to rejecting the pending call.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
  } finally {
    await client.end();
  }
}
