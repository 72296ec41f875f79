import { decodeNamedCharacterReference } from "decode-named-character-reference";
import { decodeNumericCharacterReference } from "micromark-util-decode-numeric-character-reference";
import {
  asteriskCensorStrategy,
  englishDataset,
  englishRecommendedTransformers,
  keepStartCensorStrategy,
  RegExpMatcher,
  TextCensor,
} from "obscenity";

const REFERENCE = /&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([a-zA-Z][a-zA-Z\d]{1,31}));/g;
const ROUNDS = 3;

/** HTML entities as the characters they stand for, also those that were escaped again on their way here. */
export function decodeEntities(text: string): string {
  let found = text;
  for (let round = 0; round < ROUNDS && found.includes("&"); round++)
    found = found.replace(REFERENCE, decoded);
  return found;
}

function decoded(whole: string, decimal?: string, hexadecimal?: string, name?: string): string {
  if (decimal) return decodeNumericCharacterReference(decimal, 10);
  if (hexadecimal) return decodeNumericCharacterReference(hexadecimal, 16);
  return decodeNamedCharacterReference(name ?? "") || whole;
}

const matcher = new RegExpMatcher({ ...englishDataset.build(), ...englishRecommendedTransformers });
const censor = new TextCensor().setStrategy(keepStartCensorStrategy(asteriskCensorStrategy()));

/** Swear words and slurs as their first letter and asterisks. English only, and by a list: some pass, some are masked in vain. */
export function maskProfanity(text: string): string {
  // The matcher reads 455 as letters; a number is a number.
  const found = matcher
    .getAllMatches(text)
    .filter(({ startIndex, endIndex }) => /\p{L}/u.test(text.slice(startIndex, endIndex + 1)));
  return found.length ? censor.applyTo(text, found) : text;
}

const KEPT = 2000;
const shown = new Map<string, string>();

/** A message as it is shown. What was shown before is remembered: tables are drawn again each second. */
export function readable(text: string, masked: boolean): string {
  const key = masked ? `m${text}` : `p${text}`;
  const known = shown.get(key);
  if (known !== undefined) return known;
  const decodedText = decodeEntities(text);
  const made = masked ? maskProfanity(decodedText) : decodedText;
  if (shown.size >= KEPT) shown.clear();
  shown.set(key, made);
  return made;
}

/** Where a long name may be broken: after each of these. */
export function breakable(name: string): string[] {
  return name.split(/(?<=[_\-./:@])/);
}
