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

/** Decode HTML entities, also those that were escaped more than once. */
export function decodeEntities(text: string): string {
  let result = text;
  for (let round = 0; round < ROUNDS && result.includes("&"); round++)
    result = result.replace(REFERENCE, decoded);
  return result;
}

function decoded(whole: string, decimal?: string, hexadecimal?: string, name?: string): string {
  if (decimal) return decodeNumericCharacterReference(decimal, 10);
  if (hexadecimal) return decodeNumericCharacterReference(hexadecimal, 16);
  return decodeNamedCharacterReference(name ?? "") || whole;
}

const matcher = new RegExpMatcher({ ...englishDataset.build(), ...englishRecommendedTransformers });
const censor = new TextCensor().setStrategy(keepStartCensorStrategy(asteriskCensorStrategy()));

/** Replace profanity by its first letter and asterisks. English only, by a word list: it has misses and false matches. */
export function maskProfanity(text: string): string {
  // The matcher reads digits as letters (455), so matches without a letter are dropped.
  const matches = matcher
    .getAllMatches(text)
    .filter(({ startIndex, endIndex }) => /\p{L}/u.test(text.slice(startIndex, endIndex + 1)));
  return matches.length ? censor.applyTo(text, matches) : text;
}

const KEPT = 2000;
const shown = new Map<string, string>();

/** A message as the page shows it. Results are cached, since tables render again every second. */
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

/** Split a long name where a line may break: after each separator. */
export function breakable(name: string): string[] {
  return name.split(/(?<=[_\-./:@])/);
}
