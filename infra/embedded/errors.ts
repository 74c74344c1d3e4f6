// Why the embedded broker does not start, in words that say what to do.

/** Another process holds the data folder. */
export class DataDirInUse extends Error {
  readonly code = 'data-dir-in-use';
  constructor(dataDir: string, cause: unknown) {
    super(`${dataDir} is in use by another process: stop that one, or set DATA_DIR to another folder`, { cause });
    this.name = 'DataDirInUse';
  }
}

/** Something else listens on the broker's port. */
export class MqttPortInUse extends Error {
  readonly code = 'mqtt-port-in-use';
  constructor(host: string, port: number, cause: unknown) {
    super(
      `MQTT_PORT ${port} on ${host} is taken: set MQTT_PORT to another port (0: any free one) or MQTT_URL to a broker`,
      {
        cause,
      },
    );
    this.name = 'MqttPortInUse';
  }
}
