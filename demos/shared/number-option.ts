import { InvalidArgumentError } from '@commander-js/extra-typings';

/** For an option that takes a number from `min` to `max`. */
export function numberBetween(min: number, max: number, kind: 'integer' | 'number' = 'integer') {
  return (given: string): number => {
    const value = Number(given);
    const readable = given.trim() !== '' && (kind === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value));
    if (!readable || value < min || value > max)
      throw new InvalidArgumentError(
        `It must be ${kind === 'integer' ? 'an integer' : 'a number'} from ${min} to ${max}.`,
      );
    return value;
  };
}
