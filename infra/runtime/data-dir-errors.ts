// Why the embedded broker does not start, in words that say what to do.
import { StartupError } from './startup-error.ts';

/** Another process holds the data folder. */
export class DataDirInUse extends StartupError {
  override readonly name = 'DataDirInUse';
  constructor(dataDir: string, cause: unknown) {
    super(`${dataDir} is in use by another process: stop that one, or set DATA_DIR to another folder`, { cause });
  }
}

/** There can be no folder there. */
export class DataDirUnusable extends StartupError {
  override readonly name = 'DataDirUnusable';
  constructor(dataDir: string, cause: Error) {
    super(`${dataDir} cannot be used for data: ${cause.message}; set DATA_DIR to another folder`, { cause });
  }
}

/** Something else listens on the broker's port. */
export class MqttPortInUse extends StartupError {
  override readonly name = 'MqttPortInUse';
  constructor(host: string, port: number, cause: unknown) {
    const remedy = 'set MQTT_PORT to another port (0 takes a free one), or MQTT_URL to a broker';
    super(`MQTT_PORT ${port} on ${host} is in use: stop what uses it, or ${remedy}`, { cause });
  }
}
