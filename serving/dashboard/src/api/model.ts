import { useQuery } from "@tanstack/react-query";
import { answerOf, client, type Schemas } from "./client";

/** Which model answers here, and what it costs. */
export function useModel() {
  return useQuery({
    queryKey: ["model"],
    queryFn: () => answerOf(client.GET("/v1/model")),
    refetchInterval: 5000,
  });
}

export async function classify(text: string): Promise<{ answer: Schemas["ClassifyResponse"]; ms: number }> {
  const from = performance.now();
  const answer = await answerOf(client.POST("/v1/classify", { body: { texts: [text], detail: true } }));
  return { answer: answer as Schemas["ClassifyResponse"], ms: performance.now() - from };
}

export function sendFeedback(body: Schemas["FeedbackRequest"]) {
  return answerOf(client.POST("/v1/feedback", { body }));
}
