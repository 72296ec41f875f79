import type { Metadata } from "next";
import { LiveView } from "@/panels/LiveView";

export const metadata: Metadata = { title: { absolute: "Live · Groundswell" } };

export default function Page() {
  return <LiveView />;
}
