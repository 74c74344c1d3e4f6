// What an MQTT broker cannot do. MQTT 3.1.1 has no way to ask, and a broker reacts to what it does not support by ending
// the connection or by dropping the message. So everything that the system relies on is tried out, on topics and in a
// session that no other client uses, and removed afterwards.
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { BrokerEnded, onProbe, type Probe, type ProbeOptions, type Session } from './broker-probe.ts';
import { clientIdOf } from './client-ids.ts';
import { checkTopics } from './topics.ts';

/** What a broker is used for: the events of the bus, or notifications, presence and logs. */
export type BrokerUse = 'events' | 'notifications';

interface BrokerCheckOptions extends ProbeOptions {
  /** BUS_PREFIX */
  readonly prefix: string;
  readonly uses: readonly BrokerUse[];
  /** Messages that must wait for a session whose client is away. */
  readonly depth: number;
}

/** The largest messages: an event, and a batch of log lines. */
const LARGEST_BYTES = 64 * 1024;
const SMALLEST_BYTES = 1024;
/** A message that has been confirmed and does not arrive within this time was dropped. */
const DROPPED_MS = 2_000;
/** How long a broker may take when the check's traces are removed; a stop waits for it. */
const CLEAN_UP_MS = 500;

/**
 * Resolves with one sentence for each fault, which says what to change. Rejects if no connection can be made, or with
 * the signal's reason.
 */
export async function brokerFaults(options: BrokerCheckOptions): Promise<string[]> {
  const check = new BrokerCheck(options);
  const rejected = await check.ofAccess();
  if (rejected) return [rejected];
  const faults = await Promise.all([
    check.ofSize(),
    ...(options.uses.includes('events') ? [check.ofQos2(), check.ofSessions()] : []),
    ...(options.uses.includes('notifications') ? [check.ofRetained()] : []),
  ]);
  return faults.filter((fault) => fault !== undefined);
}

/** The topics on which Mosquitto and EMQX tell their versions, retained. */
const VERSION_TOPICS = ['$SYS/broker/version', '$SYS/brokers/+/version'];
const VERSION_WITHIN_MS = 500;

/** Such as `mosquitto version 2.0.11`; undefined if the broker does not tell. Rejects if no connection can be made. */
export async function brokerVersion(
  options: Pick<BrokerCheckOptions, 'connect' | 'hosts' | 'signal' | 'prefix'>,
): Promise<string | undefined> {
  return onProbe(options, { clientId: clientIdOf(options.prefix, 'check'), clean: true }, async (probe) => {
    try {
      await probe.subscribe(VERSION_TOPICS);
      await probe.arrives(({ length }) => length > 0, VERSION_WITHIN_MS);
    } catch (error) {
      if (!(error instanceof BrokerEnded)) throw error; // its user may not read them
    }
    return probe.arrivals[0]?.text;
  });
}

class BrokerCheck {
  readonly #options: BrokerCheckOptions;
  readonly #topics: ReturnType<typeof checkTopics>;

  constructor(options: BrokerCheckOptions) {
    this.#options = options;
    setMaxListeners(0, options.signal);
    this.#topics = checkTopics(options.prefix, randomUUID());
  }

  /** Messages with QoS 1 are delivered on every topic. */
  ofAccess(): Promise<string | undefined> {
    const { uses, prefix } = this.#options;
    const { events, ...others } = this.#topics;
    const topics = [
      ...(uses.includes('events') ? [events] : []),
      ...(uses.includes('notifications') ? Object.values(others) : []),
    ];
    const remedy = `grant it ${prefix}/# (Mosquitto: topic readwrite ${prefix}/# in acl_file)`;
    return this.#twice(async (probe) => {
      const granted = await probe.subscribe(topics);
      const denied = topics.filter((_topic, index) => (granted[index] ?? 128) >= 128);
      if (denied.length > 0) return `its user may not subscribe to ${listOf(denied)}: ${remedy}`;
      if (granted.includes(0))
        return 'it delivers with QoS 0 only, which loses messages: allow QoS 1 and 2 (Mosquitto: max_qos 2)';
      const dropped: string[] = [];
      for (const topic of topics) if (!(await isDelivered(probe, topic, remedy))) dropped.push(topic);
      if (dropped.length === 0) return undefined;
      return `it confirms messages on ${listOf(dropped)} and drops them, perhaps because its user may not publish or read there: ${remedy}`;
    });
  }

  ofQos2(): Promise<string | undefined> {
    const fault = (how: string) =>
      `it ${how} a message with QoS 2, as events have: allow QoS 2 (Mosquitto: max_qos 2), or let another transport carry the events (AMQP_URL, or EVENT_BUS=local)`;
    return this.#twice(async (probe) => {
      const topic = this.#topicOf('qos');
      await probe.subscribe([topic]);
      const sent = probe
        .publish(topic, '', { qos: 2 })
        .then(() => probe.arrives(({ length }) => length > 0, DROPPED_MS));
      return (await unlessEnded(sent, fault('ends the connection at'))) ? undefined : fault('confirms and drops');
    });
  }

  async ofSize(): Promise<string | undefined> {
    const fault = await this.#sizeFault(LARGEST_BYTES);
    if (fault === undefined) return undefined;
    let bytes = LARGEST_BYTES / 2;
    while (bytes >= SMALLEST_BYTES && (await this.#sizeFault(bytes))) bytes /= 2;
    const limit = bytes < SMALLEST_BYTES ? 'not even 1 KiB arrives' : `${bytes / 1024} KiB arrive`;
    return `it ${fault} a message of ${LARGEST_BYTES / 1024} KiB, as events and logs may have (${limit}): raise its limit to 128 KiB (Mosquitto: max_packet_size, message_size_limit)`;
  }

  async ofRetained(): Promise<string | undefined> {
    const topic = this.#topics.presence;
    let isLeft = false;
    const fault = (how: string) =>
      `it ${how} a retained message, with which services announce themselves: allow them (Mosquitto: retain_available true)`;
    const clear = (probe: Probe) => probe.publish(topic, '', { qos: 1, retain: true });
    const send = async (probe: Probe) => {
      await probe.publish(topic, 'x', { qos: 1, retain: true });
      isLeft = true;
      await probe.subscribe([topic]);
      return probe.arrives((arrivals) => arrivals.some(({ retained }) => retained), DROPPED_MS);
    };
    try {
      return await this.#twice(async (probe) => {
        const kept = await unlessEnded(send(probe), fault('ends the connection at'));
        await clear(probe);
        isLeft = false;
        return kept ? undefined : fault('does not keep');
      });
    } finally {
      if (isLeft) await this.#cleanUp(this.#ownSession(), clear);
    }
  }

  /** Leaves a session, publishes to it, and comes back. */
  async ofSessions(): Promise<string | undefined> {
    const { depth } = this.#options;
    const session = { clientId: this.#clientId(), clean: false };
    const topic = this.#topicOf('session');
    const lost = 'so events that are published while a service is away are delayed until they are resent';
    try {
      const left = onProbe(this.#options, session, (probe) => probe.subscribe([topic]));
      await unlessEnded(left, `it accepts no session that outlasts its connection, ${lost}: allow persistent sessions`);
      await onProbe(this.#options, this.#ownSession(), (probe) => probe.publishMany(topic, depth));
      return await onProbe(this.#options, session, async (probe) => {
        if (!probe.sessionPresent)
          return `it keeps no session, ${lost}: allow persistent sessions (clean_session=false)`;
        await probe.arrives(({ length }) => length >= depth, DROPPED_MS);
        const kept = probe.arrivals.length;
        if (kept >= depth) return undefined;
        return `it keeps ${kept} of ${depth} messages for a client that is away and drops the others without an error, ${lost}: raise its limit (Mosquitto: max_queued_messages, by default 1000)`;
      });
    } catch (error) {
      return faultIn(error);
    } finally {
      // A clean connection ends the session that a persistent one left.
      await this.#cleanUp({ ...session, clean: true }, async () => undefined);
    }
  }

  /** Undefined if a message of this size arrives, otherwise what becomes of it. */
  #sizeFault(bytes: number): Promise<string | undefined> {
    return this.#twice(async (probe) => {
      const topic = this.#topicOf('size');
      await probe.subscribe([topic]);
      const send = async () => {
        await probe.publish(topic, 'x'.repeat(bytes), { qos: 1 });
        // It arrives after the large one.
        await probe.publish(topic, '', { qos: 1 });
        await probe.arrives((arrivals) => arrivals.some((arrival) => arrival.bytes === 0), DROPPED_MS);
      };
      await unlessEnded(send(), 'ends the connection at');
      return probe.arrivals.some((arrival) => arrival.bytes === bytes) ? undefined : 'confirms and drops';
    });
  }

  /** The fault that a step finds; it must find it twice, because a connection may also break by chance. */
  async #twice(step: (probe: Probe) => Promise<string | undefined>): Promise<string | undefined> {
    const once = () => onProbe(this.#options, this.#ownSession(), step).catch(faultIn);
    return (await once()) && (await once());
  }

  /** Also after the signal has aborted. Never rejects. */
  async #cleanUp(session: Session, work: (probe: Probe) => Promise<void>): Promise<void> {
    const signal = AbortSignal.timeout(CLEAN_UP_MS);
    await onProbe({ ...this.#options, signal }, session, work).catch(() => undefined);
  }

  /** Each step has a topic of its own, because they run at the same time. */
  #topicOf(step: string): string {
    const { events, notifications } = this.#topics;
    return `${this.#options.uses.includes('events') ? events : notifications}/${step}`;
  }

  #ownSession(): Session {
    return { clientId: this.#clientId(), clean: true };
  }

  #clientId(): string {
    return clientIdOf(this.#options.prefix, 'check');
  }
}

/** Mosquitto 2.0.11 confirms a message that its access rules deny, and then ends the connection. */
function isDelivered(probe: Probe, topic: string, remedy: string): Promise<boolean> {
  const send = async () => {
    await probe.publish(topic, '', { qos: 1 });
    return probe.arrives((arrivals) => arrivals.some((arrival) => arrival.topic === topic), DROPPED_MS);
  };
  return unlessEnded(send(), `it ends the connection of a client that publishes on ${topic}: ${remedy}`);
}

/** A step ends with this fault. */
class Fault extends Error {}

/** Rejects with the fault if the broker ends the connection before `work` is done. */
const unlessEnded = <T>(work: Promise<T>, fault: string): Promise<T> =>
  work.catch((error) => {
    throw error instanceof BrokerEnded ? new Fault(fault) : error;
  });

function faultIn(error: unknown): string {
  if (error instanceof Fault) return error.message;
  throw error;
}

const listOf = (topics: readonly string[]) => topics.join(', ');
