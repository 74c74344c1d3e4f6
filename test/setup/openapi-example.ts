// An OpenAPI 3.1 document that uses each part of the specification that GET /docs shows.
export const openapiExample = {
  openapi: '3.1.0',
  info: { title: 'Shop', version: '1.2.3', description: 'A shop with `orders`.\n\n- one\n- two' },
  tags: [{ name: 'Orders', description: 'Placing and reading orders.' }],
  security: [{ bearer: ['buyer'] }],
  paths: {
    '/healthz': { get: { security: [], responses: { 200: { description: 'It works.' } } } },
    '/orders': {
      parameters: [{ $ref: '#/components/parameters/Trace' }],
      post: {
        tags: ['Orders'],
        summary: 'Places an order.',
        description: 'Idempotent with a key.',
        parameters: [
          {
            name: 'Idempotency-Key',
            in: 'header',
            description: 'Makes the request repeatable.',
            schema: { type: 'string', minLength: 1, maxLength: 255 },
          },
        ],
        requestBody: {
          required: true,
          content: {
            'application/json': {
              schema: {
                type: 'object',
                properties: {
                  userId: { type: 'string', pattern: '^[a-z<>]+$', description: 'The <buyer>.' },
                  items: {
                    type: 'array',
                    minItems: 1,
                    items: { type: 'object', properties: { sku: { type: 'string' } }, required: ['sku'] },
                  },
                  note: { anyOf: [{ type: 'string' }, { type: 'null' }], default: null },
                },
                required: ['userId', 'items'],
                additionalProperties: false,
              },
              examples: { mug: { summary: 'A mug', value: { userId: 'ann', items: [{ sku: 'MUG' }] } } },
            },
          },
        },
        responses: {
          201: {
            description: 'The order.',
            headers: { Location: { description: 'Its path.', schema: { type: 'string' } } },
            content: { 'application/json': { schema: { $ref: '#/components/schemas/Order' } } },
          },
          422: {
            description: 'The request is not valid.',
            content: {
              'application/problem+json': {
                schema: {
                  allOf: [
                    { $ref: '#/components/schemas/Problem' },
                    {
                      properties: { type: { enum: ['/problems/invalid-request', '/problems/idempotency-key-reused'] } },
                    },
                  ],
                },
              },
            },
          },
          503: { $ref: '#/components/responses/Unavailable' },
        },
      },
    },
    '/orders/{id}': {
      get: {
        tags: ['Orders'],
        deprecated: true,
        parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string', format: 'uuid' } }],
        responses: { 200: { description: 'It.', content: { 'application/json': { schema: { type: 'object' } } } } },
      },
    },
  },
  components: {
    parameters: { Trace: { name: 'traceparent', in: 'header', schema: { type: 'string' } } },
    responses: {
      Unavailable: {
        description: 'Try again.',
        content: { 'application/problem+json': { example: { type: '/problems/unavailable', status: 503 } } },
      },
    },
    schemas: {
      Problem: { type: 'object', properties: { type: { type: 'string' } }, required: ['type'] },
      Order: {
        type: 'object',
        properties: {
          id: { type: 'string', format: 'uuid' },
          total: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
          parent: { $ref: '#/components/schemas/Order' },
          status: { type: 'string', enum: ['placed', 'completed'] },
        },
        required: ['id', 'status'],
      },
    },
  },
} as const;
