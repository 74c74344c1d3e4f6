// `sluice replay` on the running system: the copies of an invoice file place its orders once.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text as textOf } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { describe, expect, vi } from 'vitest';
import { run as sluice } from '../../cli/program.ts';
import { get } from '../setup/api.ts';
import { withFile } from '../setup/replay.ts';
import * as schemas from '../setup/schemas.ts';
import { onEachShape } from './support/each-shape.ts';
import { embedded } from './support/systems.ts';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

interface Report {
  readonly format: { readonly encoding: string; readonly dateOrder: string };
  readonly orders: { readonly placed: number; readonly alreadyThere: number; readonly completed: number };
}

const first = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';
/** The same two invoices: in Online Retail, as pandas writes it, and as a spreadsheet with a decimal comma does. */
const original = `${first}
R1,A1,CAFÉ “MUG”,6,13/12/2010 08:26,2.55,17850,UK
R1,A2,CUP,1,13/12/2010 08:26,1.00,17850,UK
R2,A1,,2,14/12/2010 09:00,2.55,,UK
`;
const pandas = `,Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country
0,R1,A1,CAFÉ “MUG”,6.0,2010-12-13 08:26:00,2.55,17850.0,UK
1,R1,A2,CUP,1.0,2010-12-13 08:26:00,1.0,17850.0,UK
2,R2,A1,NaN,2.0,2010-12-14 09:00:00,2.55,nan,UK
`;
const spreadsheet = `sep=;\r
Country;CustomerID;UnitPrice;InvoiceDate;Quantity;Description;StockCode;InvoiceNo\r
UK;17850;2,55;13.12.2010 08:26;6;CAFÉ “MUG”;A1;R1\r
UK;17850;1,00;13.12.2010 08:26;1;CUP;A2;R1\r
UK;;2,55;14.12.2010 09:00;2;;A1;R2\r
`;
const windows1252 = Buffer.from(spreadsheet.replace('“', '\x93').replace('”', '\x94'), 'latin1');

onEachShape({ shapes: [embedded] }, (on) => {
  /** Replays a file in this process; starting a process takes a second. */
  async function replay(content: string | Uint8Array, ...options: string[]) {
    const written = { stdout: '', stderr: '' };
    const spies = (['stdout', 'stderr'] as const).map((name) =>
      vi.spyOn(process[name], 'write').mockImplementation((chunk) => {
        written[name] += String(chunk);
        return true;
      }),
    );
    try {
      const args = ['replay', '--url', on.orders, '--max', ...options];
      return { code: await withFile(content, (file) => sluice([...args, file])), ...written };
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
  }
  const reportOf = async (content: string | Uint8Array): Promise<Report> => {
    const { code, stdout, stderr } = await replay(content, '--json');
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as Report;
  };

  describe('sluice replay', () => {
    on.test('places the orders of a file once, from any copy of it', async () => {
      expect(await reportOf(original)).toMatchObject({
        format: { encoding: 'UTF-8', dateOrder: 'dmy' },
        orders: { placed: 2, alreadyThere: 0, completed: 2 },
      });
      const copies: [encoding: string, content: string | Uint8Array][] = [
        ['UTF-8', pandas],
        ['UTF-8', gzipSync(original.replaceAll('\n', '\r'))],
        ['UTF-16 LE', Buffer.from(pandas.replaceAll(',', '\t'), 'utf16le')],
        ['UTF-16 BE', Buffer.from(`\uFEFF${spreadsheet}`, 'utf16le').swap16()],
        ['Windows-1252', windows1252],
      ];
      for (const [encoding, content] of copies)
        expect(await reportOf(content)).toMatchObject({
          format: { encoding },
          orders: { placed: 0, alreadyThere: 2, completed: 2 },
        });
      const { items } = await get(`${on.orders}/orders?userId=17850`, schemas.ordersPage);
      expect(items.map(({ total }) => total)).toEqual([1_630]);
      expect(items[0]?.items[0]?.name).toBe('CAFÉ “MUG”');
    });

    on.test('reads standard input', async () => {
      const args = [program, 'replay', '-', '--url', on.orders, '--max', '--json'];
      const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'ignore'] });
      const exited = once(child, 'close');
      child.stdin.end(gzipSync(pandas.replaceAll(',R', ',S')));
      expect(JSON.parse(await textOf(child.stdout))).toMatchObject({
        file: '-',
        format: { compression: 'gzip', layout: 'Online Retail II' },
        orders: { placed: 2, completed: 2 },
      });
      expect(await exited).toEqual([0, null]);
    });

    on.test('says what it recognised, before it places orders and in its report', async () => {
      const { code, stdout, stderr } = await replay(windows1252);
      expect(code).toBe(0);
      for (const output of [stdout, stderr]) {
        expect(output).toMatch(
          /^format +Windows-1252, semicolon between columns, decimal comma, layout Online Retail$/m,
        );
        expect(output).toMatch(/^dates +day first \(line 3 has 13\.12\.2010 08:26\)$/m);
      }
    });

    on.test('shows the cell and the known forms in the error if no date can be read', async () => {
      const { code, stderr } = await replay(original.replaceAll(/1\d\/12\/2010/g, '1 Dec'));
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /^error: no order was placed; 3 lines: unreadable date \(first: line 2: "1 Dec 08:26" is none of 2010-12-01 /m,
      );
    });

    on.test('places nothing from a file that breaks off or contradicts itself', async () => {
      const broken = gzipSync(original.replaceAll('R1', 'X1').replaceAll('R2', 'X2')).subarray(0, -12);
      const contradictory = `${original.replaceAll('R1', 'X1')}X2,A1,CUP,1,12/14/2010 08:26,1.00,17850,UK\n`;
      expect(await replay(broken)).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: .* breaks off/) });
      expect(await replay(contradictory)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^error: .*line 2 has 13\/12\/2010.*line 5 has 12\/14\/2010/),
      });
      const { items } = await get(`${on.orders}/orders?userId=17850`, schemas.ordersPage);
      expect(items).toHaveLength(2); // R1 and S1 of the tests above
    });
  });
});
