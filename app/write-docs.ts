// `npm run docs`: writes the documents that are generated from the code.
import { writeFile } from 'node:fs/promises';
import { configurationDocs } from './configuration-docs.ts';

const root = new URL('../', import.meta.url);
for (const [path, text] of Object.entries(configurationDocs())) await writeFile(new URL(path, root), text);
