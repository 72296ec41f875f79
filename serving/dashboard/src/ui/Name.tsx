import { Fragment } from "react";
import { breakable } from "@/lib/texts";

/** A name that may be long: broken at its separators, in the middle of a word only where one word is wider than its place. */
export function Name({ of }: { of: string }) {
  return (
    <span className="name">
      {breakable(of).map((part, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: parts have no identity but their place
        <Fragment key={at}>
          {at > 0 && <wbr />}
          {part}
        </Fragment>
      ))}
    </span>
  );
}
