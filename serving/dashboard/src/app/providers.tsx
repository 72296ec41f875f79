"use client";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { NuqsAdapter } from "nuqs/adapters/next/app";
import { type ReactNode, Suspense, useEffect, useState } from "react";
import { keyStore } from "@/api/key";
import { followLive } from "@/api/live";
import { Shell } from "@/panels/Shell";

// Every question is asked again soon, so one that failed is not repeated; an offline browser may still reach this machine.
const ALWAYS = { networkMode: "always", retry: false } as const;

export function Providers({ children }: { children: ReactNode }) {
  const [queries] = useState(
    () => new QueryClient({ defaultOptions: { queries: ALWAYS, mutations: ALWAYS } }),
  );
  useEffect(() => {
    const askAgain = () => void queries.invalidateQueries();
    const unfollowKey = keyStore.subscribe(askAgain);
    const unfollowLive = followLive(askAgain);
    return () => {
      unfollowKey();
      unfollowLive();
    };
  }, [queries]);
  return (
    <QueryClientProvider client={queries}>
      <NuqsAdapter>
        <Suspense fallback={<p className="plain">Loading…</p>}>
          <Shell>{children}</Shell>
        </Suspense>
      </NuqsAdapter>
    </QueryClientProvider>
  );
}
