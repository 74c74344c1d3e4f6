// The routes at which RabbitMQ asks about the clients of its MQTT plugin: /mqtt-auth. The rules are those of the embedded
// broker. Only the login has a token: RabbitMQ remembers the user, and the tags of the response, for the later requests.
import type { Response } from 'express';
import type { Logger } from 'pino';
import { mqttAuthRoutes as routes } from '../../contracts/routes/mqtt-auth.ts';
import type { TokenVerifier } from '../../infra/access/tokens.ts';
import type { Api } from '../../infra/http/api.ts';
import { Problem, unavailable } from '../../infra/http/problem.ts';
import { ConnectRejected, connackCodes, type Reader, readerOfConnect } from '../../infra/mqtt/access.ts';
import { mayUseClientId, mayUseResource, mayUseTopic, virtualHostOf } from '../../infra/mqtt/rabbitmq-access.ts';
import { parseMqttUrls } from '../../infra/mqtt/url.ts';

const OPERATOR = 'operator';

interface MqttAuthOptions {
  /** Undefined: access control is off, and RabbitMQ has nothing to ask. */
  readonly verifier: TokenVerifier | undefined;
  readonly prefix: string;
  /** MQTT_URL, whose virtual hosts are the only ones for other clients too. */
  readonly mqttUrl: string | undefined;
  readonly log: Logger;
}

export function serveMqttAuth(api: Api, { verifier, prefix, mqttUrl, log }: MqttAuthOptions): void {
  const virtualHosts = mqttUrl === undefined ? [] : parseMqttUrls(mqttUrl).map(virtualHostOf);
  const decide = (response: Response, isAllowed: boolean) => {
    if (!verifier) throw noAccessControl();
    answer(response, isAllowed ? 'allow' : 'deny');
  };
  api.handle(
    routes.mayLogIn,
    async ({ body: { username, password, client_id: clientId = '' } }, _request, response) => {
      if (!verifier) throw noAccessControl();
      try {
        // RabbitMQ does not tell the client's address, so invalid tokens are not counted: they would count for everybody.
        const reader = await readerOfConnect(verifier, { username, password, address: undefined });
        if (!mayUseClientId(clientId, prefix, reader))
          throw new ConnectRejected(connackCodes.notAuthorized, `the client id must begin with ${username}/`);
        answer(response, reader.isOperator ? `allow ${OPERATOR}` : 'allow');
      } catch (error) {
        if (!(error instanceof ConnectRejected)) throw error;
        if (error.returnCode === connackCodes.unavailable) throw unavailable(error.message);
        log.debug({ username, reason: error.message }, 'MQTT client at RabbitMQ rejected');
        answer(response, 'deny');
      }
    },
  );
  api.handle(routes.mayUseVirtualHost, async ({ body: { vhost } }, _request, response) => {
    decide(response, virtualHosts.includes(vhost));
  });
  api.handle(routes.mayUseResource, async ({ body }, _request, response) => {
    decide(response, mayUseResource(body, prefix, readerOf(body)));
  });
  api.handle(routes.mayUseTopic, async ({ body }, _request, response) => {
    decide(response, mayUseTopic(body, prefix, readerOf(body)));
  });
}

const readerOf = ({ username, tags }: { readonly username: string; readonly tags: string }): Reader => ({
  username,
  isOperator: tags.split(' ').includes(OPERATOR),
});

/** The plugin reads words, not JSON. */
const answer = (response: Response, text: string) => void response.type('text/plain').send(text);

const noAccessControl = () =>
  new Problem(404, 'not-found', {
    title: 'There is no access control here',
    detail: 'AUTH_MODE is none: give the clients of RabbitMQ users and permissions there.',
  });
