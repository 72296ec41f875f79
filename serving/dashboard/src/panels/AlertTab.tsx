"use client";

import { useEffect } from "react";
import { liveStore } from "@/api/live";
import { useStore } from "@/lib/store";
import { isAlarm } from "./alertWords";

const COUNTED = /^\(\d+\) /;
/** The page's icon with a dot. */
const ICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M2 22c6 0 6-12 12-12s6 12 12 12h4" fill="none" stroke="#0072b2" stroke-width="4" stroke-linecap="round"/><circle cx="24" cy="8" r="8" fill="#d55e00"/></svg>',
)}`;

/** Shows open alerts in the browser tab: their number in the title, "(1) Live", and a dot in the icon. */
export function AlertTab() {
  const { alerts } = useStore(liveStore);
  const open = [...alerts.values()].filter(isAlarm).length;
  useEffect(() => {
    // Each view sets its own title, and may set an icon, when it is shown.
    const mark = () => {
      const title = `${open ? `(${open}) ` : ""}${document.title.replace(COUNTED, "")}`;
      if (title !== document.title) document.title = title;
      for (const link of document.querySelectorAll<HTMLLinkElement>('link[rel="icon"]')) {
        link.dataset.plain ??= link.href;
        const href = open ? ICON : link.dataset.plain;
        if (link.href !== href) link.href = href;
      }
    };
    mark();
    const watch = new MutationObserver(mark);
    watch.observe(document.head, { childList: true, subtree: true, characterData: true });
    return () => watch.disconnect();
  }, [open]);
  return null;
}
