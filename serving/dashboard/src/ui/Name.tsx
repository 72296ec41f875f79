import { Fragment } from "react";
import { breakable } from "@/lib/texts";

/** A name that may be long: broken at its separators, and inside a word only if the word is too wide for the column. */
export function Name({ of }: { of: string }) {
  return (
    <span className="name">
      {breakable(of).map((part, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: parts have no identity but their position
        <Fragment key={at}>
          {at > 0 && <wbr />}
          {part}
        </Fragment>
      ))}
    </span>
  );
}
