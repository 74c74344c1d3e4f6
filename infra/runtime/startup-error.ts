import { bracketed } from './server-url.ts';

/**
 * A condition outside the program stops the start, and will stop the next one too unless a setting or the machine
 * changes. The message says what to do and is shown without a stack trace.
 */
export class StartupError extends Error {
  override readonly name: string = 'StartupError';
}

/** The start failed although nothing is known to be misconfigured, so the next one may succeed. */
export class StartFailed extends StartupError {
  override readonly name = 'StartFailed';
}

/** Another program listens on the embedded broker's port. */
export class MqttPortInUse extends StartupError {
  override readonly name = 'MqttPortInUse';
  constructor(host: string, port: number, cause: unknown) {
    const remedy = 'set MQTT_PORT to another port (0 takes a free one), or MQTT_URL to a broker';
    super(`MQTT_PORT ${port} on ${bracketed(host)} is in use: stop what uses it, or ${remedy}`, { cause });
  }
}
