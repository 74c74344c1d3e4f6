/** A condition outside the program stops the start. Its message says what to do and is shown without a stack trace. */
export class StartupError extends Error {
  override readonly name: string = 'StartupError';
}

/** A server that a variable names responds, and cannot do its work. Only another configuration can mend that. */
export class UnfitServer extends StartupError {
  override readonly name = 'UnfitServer';
}

/** Another program listens on the embedded broker's port. */
export class MqttPortInUse extends StartupError {
  override readonly name = 'MqttPortInUse';
  constructor(host: string, port: number, cause: unknown) {
    const remedy = 'set MQTT_PORT to another port (0 takes a free one), or MQTT_URL to a broker';
    super(`MQTT_PORT ${port} on ${host} is in use: stop what uses it, or ${remedy}`, { cause });
  }
}
