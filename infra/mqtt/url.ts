// MQTT_URL: one broker, or several that are tried in turn.
import { type HostAndPort, parseServerUrl, splitUrls, UrlError, type UrlKind } from '../runtime/server-url.ts';
import { TLS_PARAMS, type TlsOptions, tlsOptions } from '../runtime/tls-params.ts';

export interface MqttServer extends HostAndPort {
  readonly user?: string;
  readonly password?: string;
  /** The path of a WebSocket. Undefined: MQTT over TCP. */
  readonly webSocketPath: string | undefined;
  /** Undefined: without TLS. */
  readonly tls: TlsOptions | undefined;
}

export const MQTT_PARAMS: readonly string[] = TLS_PARAMS;

const KIND: UrlKind = { schemes: { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443 }, params: MQTT_PARAMS };

/** Throws a UrlError. */
export const parseMqttUrls = (list: string): readonly MqttServer[] => splitUrls(list).map(parse);

function parse(text: string): MqttServer {
  const url = parseServerUrl(text, KIND);
  const { scheme, user, password, path } = url;
  const [server] = url.hosts as [HostAndPort];
  const isWebSocket = scheme.startsWith('ws');
  if (path !== '' && !isWebSocket) throw new UrlError(`${scheme}:// takes no path`);
  if (password !== undefined && user === undefined) throw new UrlError('MQTT has no password without a user');
  return {
    ...server,
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
    webSocketPath: isWebSocket ? `/${encodeURI(path)}` : undefined,
    tls: tlsOptions(url, scheme === 'mqtts' || scheme === 'wss'),
  };
}
