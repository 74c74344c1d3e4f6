// Money is an integer in the currency's minor unit. The exponents are ISO 4217's (list one, with the amendments up to
// 2025), not Intl's: Intl follows the CLDR, which for example gives the Iraqi dinar no decimals, while ISO 4217 gives
// it three.
import { z } from 'zod';

const codesByExponent: Record<number, string> = {
  0: 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF',
  2: `AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
    CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
    IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN
    MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS
    SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`,
  3: 'BHD IQD JOD KWD LYD OMR TND',
  4: 'CLF UYW',
};

const exponents = new Map(
  Object.entries(codesByExponent).flatMap(([exponent, codes]) =>
    codes.split(/\s+/).map((code) => [code, Number(exponent)] as const),
  ),
);

/** The known codes, for what describes the contracts. */
export const currencyCodes: readonly string[] = [...exponents.keys()].sort();

export const currency = z
  .string()
  .refine((code) => exponents.has(code), 'must be an ISO 4217 currency code in capitals, such as GBP')
  .meta({ description: 'An ISO 4217 code, such as GBP.', pattern: '^[A-Z]{3}$' });

/** Minor units in one major unit: 100 for GBP, 1 for JPY, 1000 for KWD. Throws for a code that `currency` rejects. */
export function minorUnitsPerMajor(code: string): number {
  const exponent = exponents.get(code);
  if (exponent === undefined) throw new RangeError(`${code} is not an ISO 4217 currency code`);
  return 10 ** exponent;
}

/** `1999`, `GBP` as `19.99 GBP`. */
export function formatMoney(amount: number, code: string): string {
  const perMajor = minorUnitsPerMajor(code);
  const decimals = String(perMajor).length - 1;
  const whole = Math.trunc(amount / perMajor);
  const fraction = String(amount % perMajor).padStart(decimals, '0');
  return decimals === 0 ? `${whole} ${code}` : `${whole}.${fraction} ${code}`;
}
